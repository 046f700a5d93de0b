"""What the site is made of: one module a page, its sections, and how they are written to a folder."""
