MAX_SAVED_SEARCHES = 50  # of an account: each publication is compared with all of them
