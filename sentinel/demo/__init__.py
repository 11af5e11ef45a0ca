"""Realistic LLM telemetry with labelled faults, and the tools that send it, watch it and measure the path."""
