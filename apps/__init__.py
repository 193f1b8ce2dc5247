"""What reads an artifact on a phone: templates of the apps, and the proof that they compute what the host does."""
