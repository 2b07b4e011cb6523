"""The parts of bench/history."""
