"""The verbs over whole archives: case by case, on this machine or on a Ray cluster, and on again where it stopped."""
