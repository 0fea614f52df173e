"""The asyncio client. The synchronous one (`exemplar.sync`) is generated from these modules by `make proto`."""
