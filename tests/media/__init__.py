"""Small real media, made when a test asks for it: nothing binary is kept in the repository."""
