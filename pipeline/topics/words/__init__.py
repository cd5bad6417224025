"""What a topic is called: words, their counts by topic, c-TF-IDF, keywords by the embedding model, BERTopic."""
