"""What a channel reacts to: its activation on pictures in which one thing is changed."""
