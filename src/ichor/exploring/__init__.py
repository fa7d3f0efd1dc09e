"""What a data set holds: counted, drawn, and searched for what would spoil a result."""
