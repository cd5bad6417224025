"""What keeps a table in order between runs: repair after drivers that died, older versions dropped."""
