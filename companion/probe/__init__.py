"""What an upload really is: recognised by content, measured, cleaned; in processes of its own.

An upload has a folder to itself: `UPLOAD` goes in, `CONTENT` comes out, and `THUMBNAIL` where there
is a picture.
"""

UPLOAD, CONTENT, THUMBNAIL = "upload", "content", "thumbnail"
