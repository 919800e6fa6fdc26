"""Everything on one machine: embedded servers, the supervisor, the demo, the doctor."""
