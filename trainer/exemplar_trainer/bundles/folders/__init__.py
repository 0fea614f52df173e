"""What the configurations in downloaded folders say of pictures: one module a library that writes them."""
