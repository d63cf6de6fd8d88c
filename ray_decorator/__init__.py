"""Run functions and Hydra jobs on Ray while their data stays on your disk."""
