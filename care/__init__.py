"""The hospital's rules: records, state tables, permissions, deadlines, errors, ports. No I/O."""
