"""Taking photos in: opened safely, cropped to their subject, judged, and set on plain backgrounds."""
