"""Object stores that speak S3: how they are reached, and what they refuse, told with the cure."""
