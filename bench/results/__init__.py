"""What came out: leaderboard, figures, export, verification."""
