"""The hospital's rules: records, transition tables, permissions, deadlines, errors, ports. No I/O."""
