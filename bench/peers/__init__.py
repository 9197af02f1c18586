"""What a team writes itself, and the ceiling: the peers we are measured beside."""
