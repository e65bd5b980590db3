"""What people look at: frames made into pictures and pages. Views take a client; they never see the engine."""
