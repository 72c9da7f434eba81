"""One measured command of `jobmeter run`: measuring, keeping, delivering, telling."""
