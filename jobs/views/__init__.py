"""What screens show of jobs: each as it stands now, and two of them side by side."""
