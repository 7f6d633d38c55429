"""The requests of the differential suite, one module per area; each has DIALOGUES."""
