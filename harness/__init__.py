"""moebench: benchmark Mixture-of-Experts language models beside dense baselines.

The measuring wing (`backends`, `measurements`, `worker`, `executors`, `runner`) writes records to `results/`; the
reading wing (`metrics`, `compare`, `leaderboard`, `render`) turns records into pages. They meet only on disk.
"""
