"""What people take from an atlas: citations, figures, contact sheets, the finished site."""
