"""The Token API in the compatible dialect (docs/contracts/token-api.md). Its envelopes and names are the vendor's."""
