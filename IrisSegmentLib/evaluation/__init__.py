"""How good the answers are: metrics, strategies over a labelled set, baselines."""
