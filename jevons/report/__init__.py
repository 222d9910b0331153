"""What a result looks like to its readers: text, data, pictures, files."""
