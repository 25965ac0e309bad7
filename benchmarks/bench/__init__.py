"""The parts of the benchmark: grounds on the lab's hosts, tools that work there, scenarios."""
