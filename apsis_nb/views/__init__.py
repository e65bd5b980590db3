"""What people look at: frames made into pictures and pages. Views know only the client."""
