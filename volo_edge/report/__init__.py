"""The accuracy report: what it says (`contents`), and how: JSON, Markdown for a pull request, HTML for people."""
