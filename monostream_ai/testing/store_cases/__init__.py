"""The cases of `StoreConformance`; `store_suite` says which module covers which guarantee."""
