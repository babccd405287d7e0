"""What stands between browsers and the page: who may send what, under which names it answers, where uploads lie."""
