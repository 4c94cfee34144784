DROP VIEW latest_book_ticker;
