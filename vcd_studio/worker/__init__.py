"""The process that holds one device and does the queue's work. Importing this package loads no torch; running a stage does."""
