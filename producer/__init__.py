"""Everything a client touches: intake, submission, results, and the doors to them."""
