"""What on this machine keeps the studio from working well, and what to do about it."""
