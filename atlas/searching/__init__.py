"""What both searches share, `atlas lookup` and that of the site: words, their forms, what is found.

`rules.json` has the tables, and the site's `find.js` reads the same file.
"""
