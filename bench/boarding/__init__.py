"""Parts of bench/leaderboard.py: stores of any size, and the app in a browser."""
