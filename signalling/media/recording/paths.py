"""The files of a recording in the folder of its host, each named after it."""

JOURNAL, FILM, POSTER, FOOTAGE = ".journal", ".film", ".jpg", ".json"
