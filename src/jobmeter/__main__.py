"""`python -m jobmeter` is the command `jobmeter`."""

import sys

from jobmeter.run.main import main

if __name__ == "__main__":
    sys.exit(main())
