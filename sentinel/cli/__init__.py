"""The console command `sentinel`: one module per subcommand, listed in `sentinel.cli.main`."""
