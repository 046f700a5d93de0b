"""What experts do: which tokens each layer sent where, and everything that is counted from that."""
