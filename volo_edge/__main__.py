"""`python -m volo_edge` is `volo-edge`."""

import sys

from volo_edge.entry import main

sys.exit(main())
