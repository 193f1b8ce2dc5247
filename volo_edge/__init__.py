"""volo-edge: VOLO image classifiers on phones, with the accuracy they lose on the way measured.

Importing this package imports neither torch nor any converter, so that a bad request is refused at once.
"""

__version__ = "0.1.0"
