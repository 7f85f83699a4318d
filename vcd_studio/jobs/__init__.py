"""The durable queue: jobs, stages, attempts and events in one SQLite file. Pure data, no torch, no textual."""
