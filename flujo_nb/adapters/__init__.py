"""One module for each optional library, imported when something of that library is first used."""
