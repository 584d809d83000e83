"""The engine `transformers`: fine-tunes and serves causal language models out of a folder, with TRL and PEFT."""
