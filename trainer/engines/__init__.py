"""The engines: each trains language models and answers with them, behind `port.Engine`."""
