"""What the runtime promises when processes die, others write, and state is lost."""
