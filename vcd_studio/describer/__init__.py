"""Says what photos show and drafts prompts: any vision endpoint that speaks the OpenAI chat protocol. Off by default, needed by nothing."""
